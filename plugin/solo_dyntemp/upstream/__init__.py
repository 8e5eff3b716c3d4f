"""The pull-request kit: writes our methods into a solo-learn clone, as its CONTRIBUTING asks."""
