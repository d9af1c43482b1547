/** The picture: original and protected on either side of a divide, as a whole or close up. */

import type { Size } from "../core/tiling.ts";
import type { Region, Views } from "../protocol.ts";
import { element } from "./dom.ts";
import type { Point } from "./faces.ts";

/** What is shown on the right of the divide. */
export type Mode = "after" | "change";

const KEY_STEP = 2;
const PAGE_STEP = 10;
const PAN_STEP = 40;

/** Controls of the picture. */
export class Stage {
  private readonly stage = element("stage", HTMLDivElement);
  private readonly layers = element("layers", HTMLDivElement);
  private readonly divide = element("divide", HTMLDivElement);
  private readonly canvases = {
    before: element("before", HTMLCanvasElement),
    after: element("after", HTMLCanvasElement),
    change: element("change", HTMLCanvasElement),
  };
  private photo: Size = { height: 1, width: 1 };
  private whole: Views | null = null;
  /** Middle of the close-up, in pixels of the photo. */
  private centre = { x: 0, y: 0 };
  private closeUp = false;
  private fetching = false;
  private stale = false;

  /** @param crop gives the pixels of a part of the photo, or null if the photo is gone. */
  constructor(private readonly crop: (region: Region) => Promise<Views | null>) {
    this.followPointer();
    this.followKeys();
    new ResizeObserver(() => void this.refresh()).observe(this.stage);
  }

  /**
   * Show a photo, as a whole.
   *
   * @param centre where a close-up begins.
   */
  show(photo: Size, views: Views, centre: Point): void {
    this.whole = views;
    this.photo = photo;
    this.centre = { x: photo.width * centre.x, y: photo.height * centre.y };
    this.closeUp = false;
    const ratio = photo.width / photo.height;
    this.stage.style.setProperty("--stage-ratio", String(Math.min(Math.max(ratio, 0.4), 4)));
    this.stage.style.setProperty(
      "--stage-width",
      `calc(max(320px, 74dvh) * ${Math.max(ratio, 0.4)})`,
    );
    this.layers.setAttribute("aria-label", `The photo, ${photo.width} by ${photo.height} pixels`);
    this.place(50);
    void this.refresh();
  }

  /** Show a part of the photo, its pixels as they are, or the photo as a whole. */
  magnify(closeUp: boolean): void {
    this.closeUp = closeUp;
    void this.refresh();
  }

  /** Show the original all over, for as long as it is asked for; afterwards, the other all over. */
  showOriginal(on: boolean): void {
    this.stage.dataset["original"] = String(on);
    if (on) this.place(0);
    this.showTags();
  }

  /** What to show right of the divide. */
  setMode(mode: Mode): void {
    this.layers.dataset["mode"] = mode;
    this.canvases.change.hidden = mode !== "change";
    this.canvases.after.hidden = mode !== "after";
    this.showTags();
    this.place(Number(this.divide.getAttribute("aria-valuenow")));
  }

  /**
   * Preview a strength: the protected picture over the original, that much opaque. Adding less of
   * the perturbation is the same, but for the rounding to whole levels.
   */
  setStrength(strength: number): void {
    this.layers.style.setProperty("--strength", String(strength));
  }

  private showTags(): void {
    const other = this.layers.dataset["mode"] === "change" ? "Change × 16" : "Protected";
    const original = this.stage.dataset["original"] === "true";
    element("tag-after", HTMLSpanElement).textContent = original ? "Original" : other;
  }

  private async refresh(): Promise<void> {
    if (!this.whole) return;
    this.stage.dataset["zoom"] = this.closeUp ? "close" : "fit";
    if (this.closeUp) {
      this.stage.setAttribute("tabindex", "0");
      this.stage.setAttribute("role", "group");
      this.stage.setAttribute("aria-label", "Part of the photo; arrow keys move it");
      await this.refreshCloseUp();
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) this.stage.removeAttribute(name);
      this.draw(this.whole);
    }
  }

  /** One crop at a time, and once more if the picture was moved meanwhile. */
  private async refreshCloseUp(): Promise<void> {
    this.stale = true;
    if (this.fetching) return;
    this.fetching = true;
    try {
      while (this.stale && this.closeUp) {
        this.stale = false;
        const views = await this.crop(this.region());
        if (!views) return;
        if (this.closeUp) this.draw(views);
        for (const view of Object.values(views) as ImageBitmap[]) view.close();
      }
    } finally {
      this.fetching = false;
    }
  }

  /** Pixels of the page for one of the photo, in a close-up: it shows half of the width, or less. */
  private scale(): number {
    return Math.max(Math.ceil((2 * this.stage.clientWidth) / this.photo.width), 1);
  }

  private region(): Region {
    const scale = this.scale();
    const width = Math.min(Math.ceil(this.stage.clientWidth / scale), this.photo.width);
    const height = Math.min(Math.ceil(this.stage.clientHeight / scale), this.photo.height);
    const clamp = (value: number, most: number) => Math.min(Math.max(value, 0), most);
    const left = clamp(Math.round(this.centre.x - width / 2), this.photo.width - width);
    const top = clamp(Math.round(this.centre.y - height / 2), this.photo.height - height);
    this.centre = { x: left + width / 2, y: top + height / 2 };
    return { top, left, height, width };
  }

  private draw(views: Views): void {
    for (const name of ["before", "after", "change"] as const) {
      const [canvas, view] = [this.canvases[name], views[name]];
      if (canvas.width !== view.width) canvas.width = view.width;
      if (canvas.height !== view.height) canvas.height = view.height;
      canvas.getContext("2d")!.drawImage(view, 0, 0);
    }
  }

  private place(percent: number): void {
    const at = Math.min(Math.max(percent, 0), 100);
    const right = this.layers.dataset["mode"] === "change" ? "the change" : "the protected photo";
    this.stage.style.setProperty("--divide", `${at}%`);
    this.stage.toggleAttribute("data-whole", at === 0);
    this.divide.setAttribute("aria-valuenow", String(Math.round(at)));
    this.divide.setAttribute(
      "aria-valuetext",
      `${Math.round(at)} % original, ${100 - Math.round(at)} % ${right}`,
    );
  }

  private pan(dx: number, dy: number): void {
    const scale = this.scale();
    this.centre = { x: this.centre.x + dx / scale, y: this.centre.y + dy / scale };
    void this.refresh();
  }

  private followPointer(): void {
    let dragging: "divide" | "picture" | null = null;
    const placeAt = (event: PointerEvent) => {
      const box = this.stage.getBoundingClientRect();
      this.place(((event.clientX - box.left) / box.width) * 100);
    };
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const onDivide = event.target instanceof Node && this.divide.contains(event.target);
      dragging = onDivide || !this.closeUp ? "divide" : "picture";
      this.stage.setPointerCapture(event.pointerId);
      if (dragging === "divide") placeAt(event);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (dragging === "divide") placeAt(event);
      if (dragging === "picture") this.pan(-event.movementX, -event.movementY);
    });
    for (const end of ["pointerup", "pointercancel"] as const) {
      this.stage.addEventListener(end, () => (dragging = null));
    }
  }

  private followKeys(): void {
    this.divide.addEventListener("keydown", (event) => {
      const now = Number(this.divide.getAttribute("aria-valuenow"));
      const target = {
        ArrowLeft: now - KEY_STEP,
        ArrowDown: now - KEY_STEP,
        ArrowRight: now + KEY_STEP,
        ArrowUp: now + KEY_STEP,
        PageDown: now - PAGE_STEP,
        PageUp: now + PAGE_STEP,
        Home: 0,
        End: 100,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.place(target);
    });
    this.stage.addEventListener("keydown", (event) => {
      const move = {
        ArrowLeft: [-PAN_STEP, 0],
        ArrowRight: [PAN_STEP, 0],
        ArrowUp: [0, -PAN_STEP],
        ArrowDown: [0, PAN_STEP],
      }[event.key];
      if (!move || !this.closeUp || event.target !== this.stage) return;
      event.preventDefault();
      this.pan(move[0]!, move[1]!);
    });
  }
}
