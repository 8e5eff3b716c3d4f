"""A solo-learn-style framework: registries, method contract, data, training and evaluation."""
