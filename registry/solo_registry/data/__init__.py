"""Data sets, augmentation pipelines and the loaders that feed training and evaluation.

- `sets`: what a data set is, and `load_set`, which finds one by its name;
- `arrays`: the sets that live in memory (digits, Fashion-MNIST, CIFAR, STL-10);
- `folder`: image folders of the user, and `files`: what is in an image file;
- `augment`: random views of an image from solo-learn's YAML keys, `pipeline`: the checks of these,
  and `ops`: the operations;
- `sampling`: which image comes when, and its views, as functions of (seed, epoch, index);
- `module`: all of it as a Lightning data module.
"""
