"""Tables: model, cells, footnotes, registry."""
