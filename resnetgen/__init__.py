"""resnetgen: one spec of a residual network, every framework, proven to be one network."""
