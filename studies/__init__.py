"""The shipped studies and profiles: YAML only (this file makes them package data)."""
