"""Comfyline: a serverless job service for ComfyUI on AWS primitives."""
