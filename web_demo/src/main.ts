import "./style.css";

import { App } from "./ui/app.ts";
import { keepPage } from "./ui/offline.ts";

new App();

if (import.meta.env.PROD && "serviceWorker" in navigator) void keepPage();
