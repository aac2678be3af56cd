"""The services of slidemill, one folder each; none imports another."""
