"""Data sets, augmentation pipelines and the loaders that feed training and evaluation.

- `sets`: what a data set is, and `load_set`, which finds one by its name;
- `arrays`: the sets that live in memory (digits, Fashion-MNIST, CIFAR, STL-10);
- `folder`: image folders of the user, and `files`: what is in an image file;
- `pipeline`: solo-learn's YAML keys of one augmentation, checked;
- `draws`: what is random about a view, as a function of (seed, epoch, index) (`hashing`);
- `augment`, `device`: views as drawn, image by image or batch by batch, and `ops`: the operations;
- `sampling`: which image comes when;
- `module`: all of it as a Lightning data module.
"""
