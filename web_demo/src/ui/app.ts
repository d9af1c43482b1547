/** The page: from a file to a protected one, and what is said on the way. */

import { RidError } from "../core/errors.ts";
import type { Format, ModelInfo, Opened } from "../protocol.ts";
import { hasCameraApp, takePhoto } from "./camera.ts";
import { Client, Superseded } from "./client.ts";
import { choice, choose, element, onChoice } from "./dom.ts";
import { type Point, findFaces } from "./faces.ts";
import { fetchModel, fetchResults } from "./fetch.ts";
import { followHold } from "./hold.ts";
import { showAttack } from "./panel.ts";
import { type Mode, Stage } from "./stage.ts";
import {
  count,
  duration,
  fileSize,
  lookInWords,
  photoFacts,
  photoNotes,
  savedName,
} from "./words.ts";

/** Longest side of the pictures on the screen, in pixels. */
const LONGEST_VIEW = 2048;
const SAMPLE = "sample/astronaut.jpg";
/** Where its face is; few browsers can find it. */
const SAMPLE_FACE: Point = { x: 0.435, y: 0.24 };
const MIDDLE: Point = { x: 0.5, y: 0.5 };

const button = (id: string) => element(id, HTMLButtonElement);

/** One page. */
export class App {
  private readonly client = new Client();
  private readonly stage = new Stage((region) =>
    this.client.ask("crop", { region }).catch(() => null),
  );
  private readonly strength = element("strength", HTMLInputElement);
  private readonly model = this.loadModel();
  private readonly results = fetchResults();
  private readonly hideOriginal = followHold(button("original"), "o", (on) =>
    this.stage.showOriginal(on),
  );
  private photo: { readonly name: string; readonly opened: Opened } | null = null;
  /** Counts the photos that were opened or given up, so that late answers are told apart. */
  private turn = 0;

  constructor() {
    this.followFiles();
    this.followControls();
    void this.showResults();
  }

  private async loadModel(): Promise<ModelInfo> {
    const chip = element("model", HTMLParagraphElement);
    const say = (state: string, text: string) => {
      chip.dataset["state"] = state;
      chip.firstElementChild!.textContent = text;
    };
    try {
      const file = await fetchModel((share) =>
        say("loading", `Loading the model, ${Math.round(100 * share)} %`),
      );
      say("loading", "Starting the model …");
      const model = await this.client.ask("load", { file });
      say("ready", `${model.preset} ready, at most ${count(model.levels, "level")} of 255`);
      if (model.unfit !== null) this.alert(`This model is for trials only: ${model.unfit}.`);
      return model;
    } catch (error) {
      say("failed", "No model");
      this.alert(words(error));
      throw error;
    }
  }

  private async showResults(): Promise<void> {
    const [model, results] = await Promise.all([this.model.catch(() => null), this.results]);
    if (!model) return;
    const line = element("measured", HTMLParagraphElement);
    line.hidden = results.look === null;
    line.textContent = results.look && lookInWords(results.look);
    showAttack(results, model.preset);
  }

  /**
   * Protect a photo and show it.
   *
   * @param known where its face is, if that is known.
   */
  private async open(file: Blob, name: string, known: Point | null = null): Promise<void> {
    const turn = ++this.turn;
    this.alert("");
    this.busy("Waiting for the model …");
    try {
      const model = await this.model;
      if (turn !== this.turn) return;
      const longest = Math.min(
        Math.ceil(Math.max(innerWidth, innerHeight) * devicePixelRatio),
        LONGEST_VIEW,
      );
      const opened = await this.client.ask("open", { file, longest }, (text) => {
        if (turn === this.turn) this.busy(`${text} …`);
      });
      const faces = known ? [known] : await findFaces(opened.views.before);
      const { look } = await this.results;
      if (turn !== this.turn) return;
      this.photo = { name, opened };
      this.busy("");
      this.show(opened, faces);
      this.showStrength(model);
      this.facts(photoFacts(opened, model, look));
    } catch (error) {
      if (turn !== this.turn || error instanceof Superseded) return;
      this.busy("");
      this.restart();
      this.alert(words(error));
    }
  }

  private show(opened: Opened, faces: readonly Point[] | null): void {
    element("start", HTMLElement).hidden = true;
    element("result", HTMLElement).hidden = false;
    choose("mode", "after");
    choose("zoom", "fit");
    choose("format", "png");
    element("jpeg", HTMLInputElement).disabled = opened.transparent;
    element("pan-hint", HTMLParagraphElement).hidden = true;
    element("saved", HTMLParagraphElement).textContent = "";
    element("headline", HTMLParagraphElement).textContent =
      `Protected on this device in ${duration(opened.timing.protect)}`;
    element("notes", HTMLParagraphElement).textContent = photoNotes(
      opened,
      faces && faces.length > 0,
    );
    this.strength.value = "100";
    this.hideOriginal();
    this.stage.setMode("after");
    this.stage.show(opened.size, opened.views, faces?.[0] ?? MIDDLE);
    scrollTo(0, 0);
    element("divide", HTMLDivElement).focus({ preventScroll: true });
  }

  /** Back to the empty page. */
  private restart(): void {
    this.photo = null;
    element("result", HTMLElement).hidden = true;
    element("start", HTMLElement).hidden = false;
    button("choose").focus({ preventScroll: true });
  }

  private async save(): Promise<void> {
    const { photo, turn } = this;
    if (!photo) return;
    const format = choice("format") as Format;
    const status = element("saved", HTMLParagraphElement);
    button("download").disabled = true;
    try {
      const model = await this.model;
      const strength = Number(this.strength.value) / 100;
      const saved = await this.client.ask("save", { strength, format }, (text) => {
        status.textContent = `${text} …`;
      });
      if (turn !== this.turn) return;
      const name = savedName(photo.name, format);
      download(saved.blob, name);
      status.textContent =
        `Saved ${name}, ${fileSize(saved.blob.size)}, in ${duration(saved.milliseconds)}. ` +
        `Checked: no value changed by more than ${count(saved.verdict.maxLevels, "level")}.`;
      const measured = { ...photo.opened, verdict: saved.verdict };
      this.facts(photoFacts(measured, model, (await this.results).look));
    } catch (error) {
      if (turn === this.turn && !(error instanceof Superseded)) {
        status.textContent = "";
        this.alert(words(error));
      }
    } finally {
      button("download").disabled = false;
    }
  }

  private showStrength(model: ModelInfo): void {
    const percent = Number(this.strength.value);
    const levels = Math.round((model.levels * percent) / 10) / 10;
    const text = `at most ${levels} ${levels === 1 ? "level" : "levels"} of 255`;
    element("strength-out", HTMLOutputElement).value = `${percent} %`;
    element("strength-note", HTMLParagraphElement).textContent = `Each colour value: ${text}.`;
    this.strength.setAttribute("aria-valuetext", `${percent} %, ${text}`);
    this.stage.setStrength(percent / 100);
  }

  private facts(facts: readonly (readonly [string, string])[]): void {
    element("facts", HTMLDListElement).replaceChildren(
      ...facts.map(([term, value]) => {
        const [row, dt, dd] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
        dt!.textContent = term;
        dd!.textContent = value;
        row!.append(dt!, dd!);
        return row!;
      }),
    );
  }

  private followFiles(): void {
    const pick = (file: File | undefined) => {
      if (file) void this.open(file, file.name);
    };
    for (const id of ["file", "capture"]) {
      const input = element(id, HTMLInputElement);
      input.addEventListener("change", () => {
        pick(input.files?.[0]);
        input.value = ""; // the same file can be chosen again
      });
    }
    button("choose").onclick = () => element("file", HTMLInputElement).click();
    button("another").onclick = () => element("file", HTMLInputElement).click();
    button("take").onclick = () => void this.take();
    button("sample").onclick = () => void this.sample();
    const body = document.body;
    for (const name of ["dragenter", "dragover"] as const) {
      body.addEventListener(name, (event) => {
        event.preventDefault();
        body.classList.add("dropping");
      });
    }
    body.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) body.classList.remove("dropping");
    });
    body.addEventListener("drop", (event) => {
      event.preventDefault();
      body.classList.remove("dropping");
      pick(event.dataTransfer?.files[0]);
    });
    addEventListener("paste", (event) => pick(event.clipboardData?.files[0]));
  }

  private async take(): Promise<void> {
    if (hasCameraApp()) {
      element("capture", HTMLInputElement).click();
      return;
    }
    try {
      const file = await takePhoto();
      if (file) await this.open(file, file.name);
    } catch (error) {
      this.alert(words(error));
    }
  }

  private async sample(): Promise<void> {
    try {
      const response = await fetch(SAMPLE);
      if (!response.ok) throw new Error();
      await this.open(await response.blob(), SAMPLE.split("/").pop()!, SAMPLE_FACE);
    } catch {
      this.alert("The sample portrait could not be loaded.");
    }
  }

  private followControls(): void {
    onChoice("mode", (value) => this.stage.setMode(value as Mode));
    onChoice("zoom", (value) => {
      this.stage.magnify(value === "close");
      element("pan-hint", HTMLParagraphElement).hidden = value !== "close";
    });
    this.strength.addEventListener(
      "input",
      () => void this.model.then((m) => this.showStrength(m)),
    );
    button("download").onclick = () => void this.save();
    button("alert-close").onclick = () => this.alert("");
    button("cancel").onclick = () => {
      this.turn++;
      void this.client.ask("close", {});
      this.busy("");
      this.restart();
    };
  }

  /** What is being done, in words; nothing: it is done. */
  private busy(text: string): void {
    const overlay = element("busy", HTMLDivElement);
    const opens = overlay.hidden && text !== "";
    overlay.hidden = text === "";
    for (const part of document.querySelectorAll<HTMLElement>("main, footer, .skip")) {
      part.inert = text !== "";
    }
    element("stage-text", HTMLParagraphElement).textContent = text;
    if (opens) button("cancel").focus({ preventScroll: true });
  }

  private alert(text: string): void {
    element("alert", HTMLDivElement).hidden = text === "";
    element("alert-text", HTMLParagraphElement).textContent = text;
    if (text !== "") element("alert", HTMLDivElement).scrollIntoView({ block: "nearest" });
  }
}

function words(error: unknown): string {
  if (error instanceof RidError) return error.message;
  console.error(error);
  return "Something went wrong in the page itself; reload it. The console has the details.";
}

function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
