# CPU:  docker build -t solo-dyntemp .
# CUDA: docker build -t solo-dyntemp:cuda --build-arg TORCH=cu130 .
#       docker run --rm --gpus all -v "$PWD:/work" solo-dyntemp:cuda pretrain data=digits
FROM python:3.12-slim

# PyTorch's wheels bring their CUDA libraries; the host needs the driver and NVIDIA's container toolkit
ARG TORCH=cpu
# hadolint ignore=DL3013
RUN pip install --no-cache-dir torch torchvision --index-url "https://download.pytorch.org/whl/${TORCH}"

# Triton compiles a small C program when the GPU kernels are first used
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

COPY . /src
RUN pip install --no-cache-dir '/src[sweep]'

# HOME holds Triton's and PyTorch's caches, for whatever user the container is run as
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["dyntemp"]
CMD ["--help"]
