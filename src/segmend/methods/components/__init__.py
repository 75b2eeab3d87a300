"""Stateful modules that methods own; being sub-modules, they are saved and resumed with the method."""
