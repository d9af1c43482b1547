import "./style.css";

import { App } from "./ui/app.ts";

new App();

if (import.meta.env.PROD && "serviceWorker" in navigator) {
  navigator.serviceWorker.register("sw.js").catch((error: unknown) => {
    console.warn("the page will not work offline:", error);
  });
}
