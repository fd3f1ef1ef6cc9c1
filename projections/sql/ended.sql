SELECT id FROM instances WHERE id = ANY($1) AND terminated_at IS NOT NULL
