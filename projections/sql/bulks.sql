-- Bulk operations by id, with what became of their commands as arrays (NULL while nothing did).
$$shown_bulks
WHERE b.id = ANY($1::uuid[])
