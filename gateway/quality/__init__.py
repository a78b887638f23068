"""Whether what is searched for resembles the catalogue, and whether what is found is right."""
