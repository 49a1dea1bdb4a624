# pyright: basic
# Strict checking cannot follow ONNX's protobuf classes, which are made at run time.
"""Parses ONNX's text syntax, and points the weights that it declares into a safetensors file."""

from resnetgen.weights.layout import Layout


def model_bytes(text: str, weights: Layout, location: str) -> bytes:
    """The serialized model of `text` with its weights as external data in file `location`.

    The text declares each weight by type and name; each becomes an initializer here.
    """
    # Imported late: ONNX takes longer to load than all other passes take to run.
    from onnx import TensorProto
    from onnx.parser import parse_model

    model = parse_model(text)
    declared = {value.name for value in model.graph.value_info}
    assert declared == {entry.name for entry in weights.entries}, "the text declares each weight"
    del model.graph.value_info[:]
    for entry in weights.entries:
        tensor = model.graph.initializer.add(
            name=entry.name,
            data_type=TensorProto.FLOAT,
            dims=entry.shape,
            data_location=TensorProto.EXTERNAL,
        )
        tensor.external_data.add(key="location", value=location)
        tensor.external_data.add(key="offset", value=str(entry.offset))
        tensor.external_data.add(key="length", value=str(entry.length))
    return model.SerializeToString(deterministic=True)
