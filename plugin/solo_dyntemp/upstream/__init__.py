"""The pull-request kit: our methods in a solo-learn clone, as its CONTRIBUTING asks."""
