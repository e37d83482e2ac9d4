"""What a network is before torch: settings, variants, exact costs."""
