/** Fetch the files that the page is about: the model, and what was measured of it. */

import { RidError } from "../core/errors.ts";
import { RESULTS_FILE, type Results } from "../results.ts";

const OFFLINE = "The model could not be loaded. Are you offline? Reload when connected.";

/**
 * Fetch the model.
 *
 * @param progress told the share that is here, 0 to 1, where the server says how long the file is.
 * @throws RidError no network, or no such file.
 */
export async function fetchModel(
  progress: (share: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch("model/rid.onnx").catch(() => {
    throw new RidError(OFFLINE);
  });
  if (!response.ok || !response.body) {
    throw new RidError(
      `The model is missing on this server (${response.status}); build the page again.`,
    );
  }
  // A compressed answer is longer when it is read than its header says.
  const compressed = response.headers.has("Content-Encoding");
  const total = compressed ? 0 : Number(response.headers.get("Content-Length"));
  const parts: BlobPart[] = [];
  let length = 0;
  try {
    const reader = response.body.getReader(); // Safari's streams cannot be looped over
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      parts.push(next.value);
      length += next.value.length;
      if (total > 0) progress(Math.min(length / total, 1));
    }
  } catch {
    throw new RidError(OFFLINE);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** What was measured of the model; nothing where that cannot be had. */
export async function fetchResults(): Promise<Results> {
  try {
    return (await (await fetch(RESULTS_FILE)).json()) as Results;
  } catch {
    return { look: null, attack: null, picture: null };
  }
}
