"""From frames to clips: geometry, augmentation, mixing."""
