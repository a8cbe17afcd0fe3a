/** Reads files of 3D models. They are hostile: nothing is fetched that a file names. */

import {
  BufferGeometry,
  DoubleSide,
  LoadingManager,
  Mesh,
  MeshStandardMaterial,
  Points,
  PointsMaterial,
  TextureLoader,
} from "three";
import type { Object3D } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import type { GLTFParser } from "three/addons/loaders/GLTFLoader.js";
import { OBJLoader } from "three/addons/loaders/OBJLoader.js";
import { PLYLoader } from "three/addons/loaders/PLYLoader.js";
import { STLLoader } from "three/addons/loaders/STLLoader.js";
import type { ModelKind } from "./model-kinds.js";

const PATIENCE_MS = 20_000; // a file whose parts wait for each other is never ready

/** @throws Error the file is not of its kind, or it needs other files. */
export async function modelOf(kind: ModelKind, bytes: ArrayBuffer): Promise<Object3D> {
  switch (kind) {
    case "glb":
    case "gltf":
      return await gltf(bytes);
    case "obj":
      return new OBJLoader().parse(new TextDecoder().decode(bytes));
    case "ply":
      return ply(new PLYLoader().parse(bytes));
    case "stl":
      return shape(new STLLoader().parse(bytes), true);
  }
}

async function gltf(bytes: ArrayBuffer): Promise<Object3D> {
  const manager = new LoadingManager();
  manager.setURLModifier((url) => {
    if (/^(blob|data):/.test(url)) return url;
    throw new Error("the file names another file");
  });
  const loader = new GLTFLoader(manager).register((parser) => {
    withinTheFile(parser, manager);
    return { name: "within_the_file" };
  });
  const late = new Promise<never>((_, reject) =>
    setTimeout(() => reject(new Error("the file is never ready")), PATIENCE_MS),
  );
  const { scene } = await Promise.race([loader.parseAsync(bytes, ""), late]);
  return scene;
}

/** Pictures and buffers come from the file itself. The page's policy allows no fetch of their URLs. */
function withinTheFile(parser: GLTFParser, manager: LoadingManager): void {
  const own = parser as unknown as { textureLoader: object; fileLoader: object };
  own.textureLoader = new TextureLoader(manager);
  own.fileLoader = {
    load: (url: string, loaded: (bytes: ArrayBuffer) => void, _: unknown, failed: () => void) => {
      const found = /^data:[^,]*;base64,(.*)$/s.exec(url);
      if (!found) return failed();
      return loaded(Uint8Array.from(atob(found[1]!), (char) => char.charCodeAt(0)).buffer);
    },
  };
}

const ply = (geometry: BufferGeometry) => shape(geometry, geometry.index !== null);

/** A surface, or its points if the file has no faces. */
function shape(geometry: BufferGeometry, hasFaces: boolean): Object3D {
  const vertexColors = geometry.hasAttribute("color");
  if (!hasFaces)
    return new Points(
      geometry,
      new PointsMaterial({ size: 2, sizeAttenuation: false, vertexColors }),
    );
  if (!geometry.hasAttribute("normal")) geometry.computeVertexNormals();
  return new Mesh(geometry, new MeshStandardMaterial({ vertexColors, side: DoubleSide }));
}
