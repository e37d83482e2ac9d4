"""What must be in order for FARLab to work here: versions, devices, decoders, disk, data, weights, the store."""
