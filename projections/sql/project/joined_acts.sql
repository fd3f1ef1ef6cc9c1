    -- Acts are added to those there: the first one and the last 99 stay (projections.acts.MAX_ACTS).
    acts = CASE WHEN r.acts IS NULL THEN i.acts ELSE (
        SELECT string_agg(act, E'\n' ORDER BY number)
        FROM (
            SELECT act, number, count(*) OVER () AS total
            FROM unnest(string_to_array(concat_ws(E'\n', i.acts, r.acts), E'\n')) WITH ORDINALITY AS a (act, number)
        ) numbered
        WHERE number = 1 OR number > total - 99
    ) END
