SELECT partition, cause, code, message
FROM rejections
JOIN unnest($1::integer[], $2::bigint[]) AS wanted (partition, cause) USING (partition, cause)
