from typing_extensions import Buffer

def kernels() -> list[str]: ...

class Cutter:
    minimum: int
    average: int
    maximum: int
    def __init__(
        self, table: Buffer, minimum: int, average: int, maximum: int, kernel: str = "auto"
    ) -> None: ...
    def cut(self, data: Buffer, final: bool) -> list[int]: ...
