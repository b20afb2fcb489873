"""Students into packages: networks for other engines, the check that they answer alike, cards."""
