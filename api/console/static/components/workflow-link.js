/** A link to a workflow by its name, which is looked up once. */
import { linkTo } from "../base/addresses.js";
import { shortId } from "../base/formats.js";
import { html, useEffect, useState } from "../base/ui.js";
import { getWorkflow } from "../data/resources.js";

/** @type {Map<string, Promise<string>>} */
const names = new Map();

/** @param {{id: string}} props */
export function WorkflowLink({ id }) {
  return html`<a href=${linkTo(["workflows", id])} title=${id}><${WorkflowName} id=${id} /></a>`;
}

/** @param {{id: string}} props */
export function WorkflowName({ id }) {
  const [name, setName] = useState("");
  useEffect(() => {
    let here = true;
    if (!names.has(id)) names.set(id, getWorkflow(id).then((found) => found.config.name, () => (names.delete(id), "")));
    void names.get(id)?.then((found) => here && setName(found));
    return () => void (here = false);
  }, [id]);
  return name || shortId(id);
}
