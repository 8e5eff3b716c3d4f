# CUDA and CPU: docker build -t solo-dyntemp .
# CPU alone, smaller: the same with --build-arg TORCH_INDEX=URL, the index of PyTorch's CPU wheels
#   docker run --rm --gpus all -v "$PWD:/data" solo-dyntemp pretrain data=digits
FROM python:3.12-slim

# PyTorch's wheels bring their CUDA libraries; the host needs the driver and NVIDIA's container toolkit
ARG TORCH_INDEX=""
# pip takes an empty variable for none
# hadolint ignore=DL3013
RUN PIP_INDEX_URL="${TORCH_INDEX}" pip install --no-cache-dir torch torchvision

# Triton compiles a small C program when the GPU kernels are first used
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

COPY . /src
RUN pip install --no-cache-dir '/src[sweep]'

# HOME holds Triton's and PyTorch's caches, for whatever user the container is run as
ENV HOME=/tmp
WORKDIR /data
ENTRYPOINT ["dyntemp"]
CMD ["--help"]
