"""This machine as the cloud: an emulator takes the templates that would go to AWS.

Nothing here is shipped, and nothing here knows the job code: what runs is named by module, as a
container names its command, and everything about routes, permissions and environment comes from
the synthesised templates.
"""
