"""Results against rows that were measured or published: files of rows in, tables of errors out."""
