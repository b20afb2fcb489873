"""Files of trained students: the weights, and beside them what the network is."""
