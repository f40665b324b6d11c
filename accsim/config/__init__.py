"""Input files to checked, frozen descriptions: the YAML reader, machine models and the catalogue of what ships."""
