-- When a rejection came into the read model. By the time of its event alone, one of an engine whose clock is a day behind
-- would be deleted before its sender had read it, who would then take the command for carried out.
ALTER TABLE rejections ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now();
