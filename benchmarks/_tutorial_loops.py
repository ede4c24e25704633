"""The two tutorials' loops in plain Keras, as written but for the missing `compile`.

Run as a script, in a process of its own: `python _tutorial_loops.py blobs|cifar10 [STAGES EPOCHS]`
with KERAS_BACKEND set. Prints one JSON object: seconds for each stage, and for the whole process
from its start.
"""

import json
import os
import sys
import time

STARTED = time.perf_counter()


def grow(model, new_layer, data, stages, fit):
    """Pop the head, freeze what is below, add a layer, put the head back, compile, fit."""
    import keras

    x, y = data
    seconds = []
    for stage in range(stages):
        begun = time.perf_counter()
        if stage:
            head = model.layers[-1]
            model.pop()
            for layer in model.layers:
                layer.trainable = False
            model.add(new_layer())
            model.add(head)
        model.compile(
            loss="sparse_categorical_crossentropy",
            optimizer=keras.optimizers.get(fit["optimizer"]),
            metrics=["accuracy"],
        )
        model.fit(
            x, y, epochs=fit["epochs"], batch_size=fit["batch_size"], verbose=0,
            validation_split=fit.get("validation_split", 0.0),
        )  # fmt: skip
        for part in fit["evaluate"]:
            model.evaluate(*part, verbose=0)
        seconds.append(time.perf_counter() - begun)
    return seconds


def blobs(stages=11, epochs=100):
    """Second tutorial: three clusters, 10 units a layer, SGD with momentum."""
    import keras
    from sklearn.datasets import make_blobs

    def dense(**extra):
        return keras.layers.Dense(10, activation="relu", kernel_initializer="he_uniform", **extra)

    x, y = make_blobs(n_samples=1000, centers=3, n_features=2, cluster_std=2, random_state=2)
    train, test = (x[:500], y[:500]), (x[500:], y[500:])
    model = keras.Sequential([keras.Input((2,)), dense(), keras.layers.Dense(3, "softmax")])
    optimizer = {"class_name": "SGD", "config": {"learning_rate": 0.01, "momentum": 0.9}}
    fit = {"epochs": epochs, "batch_size": 32, "optimizer": optimizer, "evaluate": [train, test]}
    return grow(model, dense, train, stages, fit)


def cifar10(stages=10, epochs=25):
    """First tutorial: CIFAR-10 pixels, 256 units a layer, Adam, 20% validation."""
    import keras

    import layerwise

    data = layerwise.load_dataset("cifar10", validation_split=0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    train, test = (data.train.x, data.train.y), (data.test.x, data.test.y)
    fit = {
        "epochs": epochs,
        "batch_size": 250,
        "optimizer": "adam",
        "validation_split": 0.2,
        "evaluate": [train, test],
    }
    return grow(model, lambda: keras.layers.Dense(256, activation="relu"), train, stages, fit)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    job, *numbers = sys.argv[1:]
    stages = {"blobs": blobs, "cifar10": cifar10}[job](*map(int, numbers))
    print(json.dumps({"stages": stages, "whole": time.perf_counter() - STARTED}))
