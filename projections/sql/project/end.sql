SELECT (SELECT count(*) FROM moved) = (SELECT count(*) FROM expected),
       (SELECT count(pg_notify($2::text, n)) FROM go, json_array_elements_text($3::json) n)
