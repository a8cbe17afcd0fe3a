// The load test of locustfile.py for k6, with the same numbers:
//   k6 run -e COMFYLINE_URL=... -e COMFYLINE_API_KEY=... bench/load.k6.js
// The aim counts with -e LOAD_STRICT=1.
import http from 'k6/http';
import exec from 'k6/execution';
import { check, sleep } from 'k6';

const USERS = 50;
const RUN_SECONDS = 300;
const PACE_SECONDS = 1;
const WARM_UP_SECONDS = 60;
const P99_FLOOR_MS = 5000;
const P99_AIM_MS = 500;
const MAX_ERRORS = 0;

const aim = __ENV.LOAD_STRICT
  ? { 'http_req_duration{phase:steady}': [`p(99)<${P99_AIM_MS}`] }
  : {};

export const options = {
  vus: USERS,
  duration: `${RUN_SECONDS}s`,
  thresholds: {
    http_req_duration: [`p(99)<${P99_FLOOR_MS}`],
    checks: [`rate>=${1 - MAX_ERRORS}`],
    ...aim,
  },
};

const graph = {
  1: { class_type: 'EmptyImage', inputs: { width: 16, height: 16, batch_size: 1, color: 0 } },
  2: { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'load' } },
};

export default function () {
  const started = Date.now();
  const isSteady = exec.instance.currentTestRunDuration >= WARM_UP_SECONDS * 1000;
  const answer = http.post(
    `${__ENV.COMFYLINE_URL}/api/v1/jobs`,
    JSON.stringify({ workflow: graph }),
    {
      headers: {
        Authorization: `Bearer ${__ENV.COMFYLINE_API_KEY}`,
        'Content-Type': 'application/json',
        'Idempotency-Key': `k6-${started}-${exec.vu.idInTest}-${exec.vu.iterationInInstance}`,
      },
      tags: { phase: isSteady ? 'steady' : 'warm-up' },
    },
  );
  check(answer, { 'is accepted': (one) => one.status === 202 });
  sleep(Math.max(0, PACE_SECONDS - (Date.now() - started) / 1000));
}
