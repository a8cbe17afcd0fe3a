/** Files of 3D models, told by their name, because few nodes give them a media type. */

import type { ArtifactView } from "@comfyline/client";

export const MODEL_KINDS = ["glb", "gltf", "obj", "ply", "stl"] as const;
export type ModelKind = (typeof MODEL_KINDS)[number];

export function modelKind({ name }: ArtifactView): ModelKind | undefined {
  const extension = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  return MODEL_KINDS.find((kind) => kind === extension);
}
