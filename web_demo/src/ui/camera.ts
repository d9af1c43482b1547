/** Take a photo: phones have a camera app for it, elsewhere a small dialog shows the webcam. */

import { RidError } from "../core/errors.ts";
import { element } from "./dom.ts";

/** Whether the file dialog offers the camera itself, with its full resolution. */
export function hasCameraApp(): boolean {
  return matchMedia("(pointer: coarse)").matches;
}

/**
 * Show the webcam until a photo is taken or the dialog is closed.
 *
 * @returns the photo as a lossless file, or null if none was taken.
 * @throws RidError no camera, or no permission to use it.
 */
export async function takePhoto(): Promise<File | null> {
  const stream = await openCamera();
  const dialog = element("camera", HTMLDialogElement);
  const video = element("video", HTMLVideoElement);
  try {
    video.srcObject = stream;
    await video.play();
    dialog.showModal();
    const shot = await new Promise<boolean>((resolve) => {
      element("shutter", HTMLButtonElement).onclick = () => resolve(true);
      element("camera-close", HTMLButtonElement).onclick = () => resolve(false);
      dialog.onclose = () => resolve(false); // Escape
    });
    return shot ? await frame(video) : null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    dialog.onclose = null;
    dialog.close();
  }
}

async function openCamera(): Promise<MediaStream> {
  if (!navigator.mediaDevices) throw new RidError("This browser gives pages no camera.");
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "user", width: { ideal: 2560 }, height: { ideal: 1440 } },
    });
  } catch (error) {
    const denied = error instanceof DOMException && error.name === "NotAllowedError";
    throw new RidError(
      denied
        ? "The camera was not allowed. Allow it for this page in the browser’s settings, or choose a photo."
        : "No camera was found, or another program is using it. Choose a photo instead.",
    );
  }
}

async function frame(video: HTMLVideoElement): Promise<File> {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d")!.drawImage(video, 0, 0);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new RidError("The camera’s picture could not be read; try again.");
  return new File([blob], "photo.png", { type: "image/png" });
}
