/** Shows a 3D model on a canvas: light, camera, and turning by pointer and keyboard. */

import {
  Box3,
  DirectionalLight,
  HemisphereLight,
  Mesh,
  PerspectiveCamera,
  Scene,
  Sphere,
  Spherical,
  Vector3,
  WebGLRenderer,
} from "three";
import type { Material, Object3D } from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const TURN = Math.PI / 12;
const NEARER = 0.85;

export interface Stage {
  /** Acts on a key; whether it did. */
  press: (key: string) => boolean;
  close: () => void;
}

/** @throws Error the browser offers no WebGL, or the model shows nothing. */
export function stageOf(canvas: HTMLCanvasElement, model: Object3D, lost: () => void): Stage {
  const extent = new Box3().setFromObject(model).getBoundingSphere(new Sphere());
  if (!Number.isFinite(extent.radius) || extent.radius <= 0) throw new Error("nothing to show");
  const renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
  const camera = new PerspectiveCamera(45, 1, extent.radius / 100, extent.radius * 100);
  camera.position.copy(extent.center).add(new Vector3(0.6, 0.5, 1).setLength(extent.radius * 2.8));
  const scene = new Scene();
  const lamp = new DirectionalLight(0xffffff, 2);
  scene.add(model, new HemisphereLight(0xffffff, 0x777777, 1.5), lamp);
  const controls = new OrbitControls(camera, canvas);
  controls.target.copy(extent.center);
  controls.enablePan = false;

  const draw = () => {
    lamp.position.copy(camera.position);
    renderer.render(scene, camera);
  };
  const fit = () => {
    const { clientWidth, clientHeight } = canvas;
    if (!clientWidth || !clientHeight) return;
    renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    renderer.setSize(clientWidth, clientHeight, false);
    camera.aspect = clientWidth / clientHeight;
    camera.updateProjectionMatrix();
    draw();
  };
  const turn = (theta: number, phi: number, distance = 1) => {
    const place = camera.position.clone().sub(controls.target);
    const next = new Spherical().setFromVector3(place);
    next.theta += theta;
    next.phi += phi;
    next.radius *= distance;
    camera.position.copy(controls.target).add(new Vector3().setFromSpherical(next.makeSafe()));
    controls.update();
  };
  const keys: Record<string, () => void> = {
    ArrowLeft: () => turn(-TURN, 0),
    ArrowRight: () => turn(TURN, 0),
    ArrowUp: () => turn(0, -TURN),
    ArrowDown: () => turn(0, TURN),
    "+": () => turn(0, 0, NEARER),
    "-": () => turn(0, 0, 1 / NEARER),
    "0": () => controls.reset(),
  };

  controls.saveState();
  controls.addEventListener("change", draw);
  controls.update();
  const watching = new ResizeObserver(fit);
  watching.observe(canvas);
  canvas.addEventListener("webglcontextlost", lost);
  fit();
  return {
    press: (key) => {
      keys[key]?.();
      return key in keys;
    },
    close: () => {
      canvas.removeEventListener("webglcontextlost", lost);
      watching.disconnect();
      controls.dispose();
      scene.traverse(release);
      renderer.dispose();
      renderer.forceContextLoss();
    },
  };
}

function release(object: Object3D): void {
  const { geometry, material } = object as Partial<Mesh>;
  geometry?.dispose();
  const materials: Material[] = Array.isArray(material) ? material : material ? [material] : [];
  materials.forEach((each) => each.dispose());
}
