"""A chat in the browser: gradio's page on the Python module of Salient.

    python chat.py MODEL...     folders, GGUF files or names on the hub; none: the models in the hub's cache
"""

import argparse
import functools

import gradio
import salient


@functools.lru_cache(maxsize=1)
def device_choices():
    """What a model can run on, by what the page calls it: the CPU with all of its threads, half of them, and so on to one,
    and each GPU."""
    choices = {}
    for device in salient.devices():
        if device["device"] != "cpu":
            choices[f"{device['name']} ({device['device']})"] = {"device": device["device"]}
            continue
        threads = device["threads"]
        while threads >= 1:
            choices[f"{device['name']}, {threads} thread{'s' if threads > 1 else ''}"] = {"threads": threads}
            threads //= 2
    return choices


@functools.lru_cache(maxsize=1)
def open_model(name, device):
    """The model that is in memory; another one, or another device, takes its place."""
    return salient.Model(name, **device_choices()[device])


def reply(message, history, name, device, system, temperature, max_tokens):
    """The reply so far, again and again as it grows. `history` has the turns before `message`."""
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in history]
    turns.append({"role": "user", "content": message})
    if system:
        turns.insert(0, {"role": "system", "content": system})
    text = ""
    try:
        model = open_model(name, device)
        for piece in salient.stream(model, turns, temperature=temperature, max_tokens=int(max_tokens)):
            text += piece
            yield text
    except salient.Error as error:
        raise gradio.Error(str(error)) from error


def make_page(models):
    devices = list(device_choices())
    return gradio.ChatInterface(
        reply,
        type="messages",
        title="Salient",
        additional_inputs=[
            gradio.Dropdown(models, value=models[0], label="Model", info="or a folder, a GGUF file, a name on the hub",
                            allow_custom_value=True),
            gradio.Dropdown(devices, value=devices[0], label="Device"),
            gradio.Textbox("", label="System prompt"),
            gradio.Slider(0, 2, value=0.7, step=0.05, label="Temperature"),
            gradio.Slider(16, 2048, value=512, step=16, label="Most tokens"),
        ],
    )


def main():
    parser = argparse.ArgumentParser(description="A chat in the browser on the Python module of Salient.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="folder, GGUF file or name on the hub")
    parser.add_argument("--port", type=int, default=7860, help="port on the loopback (default: 7860)")
    arguments = parser.parse_args()
    models = arguments.models or [model["name"] for model in salient.models()]
    if not models:
        parser.error("the cache has no models: name one, for example SmolLM2-135M-Instruct")
    make_page(models).launch(server_name="127.0.0.1", server_port=arguments.port)


if __name__ == "__main__":
    main()
