"""The schema's migrations: files `NNNN_title.sql`, applied in the order of their names and never changed afterwards."""
