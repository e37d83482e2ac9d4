"""Explaining a trained network: which places of a clip its answer rests on."""
