#!/usr/bin/env bash
# Build the worker's image for the GPU instances (linux/amd64), push it to the stage's repository, and
# print the line for the deployment file. `make image` runs it.
#
#   STAGE    the deployment's stage (default: dev)
#   TAG      the tag, which can be pushed once (default: the commit)
#   LOCK     the engine lock (default: the project's own)
#   WARM_UP  the graph that the lock names for the warm-up
set -euo pipefail
cd "$(dirname "$0")/.."
stage=${STAGE:-dev}
tag=${TAG:-$(git rev-parse --short=12 HEAD)}
if grep --quiet '^ARG .*@sha256:ENTER_THE_DIGEST$' gpu_worker/Dockerfile; then
  echo "make image: enter the digests of the base images in gpu_worker/Dockerfile, in place of" >&2
  echo "ENTER_THE_DIGEST. The first lines of that file say how to print them." >&2
  exit 1
fi
if ! command -v docker >/dev/null; then
  echo "make image: Docker is needed to build the image" >&2
  exit 1
fi
repository=$(aws cloudformation describe-stacks --stack-name "comfyline-$stage-data" \
  --query "Stacks[0].Outputs[?OutputKey=='WorkerImageRepository'].OutputValue" --output text)
if [ -z "$repository" ] || [ "$repository" = None ]; then
  echo "make image: deploy the data stack first: npx aws-cdk@2.1148.1 deploy comfyline-$stage-data" >&2
  exit 1
fi
arguments=()
if [ -n "${LOCK:-}" ]; then arguments+=(--build-arg "LOCK=$LOCK"); fi
if [ -n "${WARM_UP:-}" ]; then arguments+=(--build-arg "WARM_UP=$WARM_UP"); fi
aws ecr get-login-password | docker login --username AWS --password-stdin "${repository%%/*}"
# Without the platform, a machine with an ARM processor would build an image that no GPU instance runs.
docker build --platform linux/amd64 --file gpu_worker/Dockerfile --tag "$repository:$tag" \
  ${arguments[@]+"${arguments[@]}"} .
docker push "$repository:$tag"
digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$repository:$tag")
echo "Enter this in deployments/$stage.toml, in the section [worker]:"
echo "image = \"$digest\""
