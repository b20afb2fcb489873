"""From records to training batches; imported by training alone."""
