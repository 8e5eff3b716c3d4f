"""Data sets, augmentation pipelines and the loaders that feed training and evaluation.

- `sets`: the types of data sets, and `load_set`, which opens a set by its name;
- `arrays`: the sets in memory (digits, Fashion-MNIST, CIFAR, STL-10);
- `folder`, `classes`, `files`, `pixels`: the user's image folders, classes, files and pixels;
- `custom`, `h5`, `imagenet`: sets of folders or HDF5 files by their names;
- `opened`, `subset`: the digest of the images, and which images a run uses;
- `from_images`: values of a config that follow from the images;
- `pipeline`: one augmentation in solo-learn's YAML keys, checked;
- `draws`: everything random about a view, as a function of (seed, epoch, index) (`hashing`);
- `augment`, `device`, `dali`: views image by image, batch by batch, or with DALI;
- `ops`: the operations of a view;
- `sampling`: the order of the images;
- `module`: all of this as a Lightning data module.
"""
