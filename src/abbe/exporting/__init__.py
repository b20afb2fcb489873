"""Students into packages: networks for other engines, proof that they answer alike, model cards."""
