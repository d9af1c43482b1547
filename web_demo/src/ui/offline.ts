/** Keep the page on the device, and say whether that worked. */

import { element } from "./dom.ts";

const KEPT = "Kept on this device: works without a network.";
const NOT_KEPT = "Could not be kept on this device: needs the network the next time.";

/** Install the service worker; without one (no space, a private window) the page works all the same. */
export async function keepPage(): Promise<void> {
  const say = (text: string) => (element("offline", HTMLParagraphElement).textContent = text);
  try {
    const registration = await navigator.serviceWorker.register("sw.js");
    const fresh = registration.installing;
    fresh?.addEventListener("statechange", () => {
      // An older copy, if there is one, goes on serving the page.
      if (fresh.state === "redundant" && !registration.active) say(NOT_KEPT);
    });
    await navigator.serviceWorker.ready;
    say(KEPT);
  } catch (error) {
    console.warn("the page will not work offline:", error);
    say(NOT_KEPT);
  }
}
