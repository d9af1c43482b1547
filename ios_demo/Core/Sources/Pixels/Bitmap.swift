/// An 8-bit picture that owns its memory: four bytes a pixel, rows without padding, from the top
/// left. A 12-megapixel photo takes 48 MB.
public struct Bitmap: Sendable, Equatable {
    public let width: Int
    public let height: Int
    public let order: PixelOrder
    public private(set) var bytes: [UInt8]

    /// Opaque black.
    public init(width: Int, height: Int, order: PixelOrder = .rgba) {
        precondition(width > 0 && height > 0, "an empty picture")
        self.width = width
        self.height = height
        self.order = order
        bytes = [UInt8](repeating: 0, count: 4 * width * height)
        for pixel in stride(from: 3, to: bytes.count, by: 4) { bytes[pixel] = 255 }
    }

    /// Rounds levels (0 to 255, halves to even) to an opaque picture; values outside are clipped.
    public init(levels image: FloatImage, order: PixelOrder = .rgba) {
        self.init(width: image.width, height: image.height, order: order)
        withView { view in
            image.write(to: view)
        }
    }

    public var bytesPerRow: Int { 4 * width }

    /// Lends the memory, for reading and writing.
    ///
    /// - Parameter body: may not keep the view.
    public mutating func withView<Result>(
        _ body: (PixelView) throws -> Result
    ) rethrows -> Result {
        let (width, height, order) = (width, height, order)
        return try bytes.withUnsafeMutableBytes { memory in
            // Never nil: the picture is not empty.
            let view = PixelView(
                base: memory.baseAddress!, width: width, height: height, bytesPerRow: 4 * width,
                order: order)
            return try body(view)
        }
    }
}

extension FloatImage {
    /// Rounds levels (0 to 255, halves to even) into pixels of the same size, opaque.
    public func write(to view: PixelView) {
        precondition(view.width == width && view.height == height, "pictures differ in size")
        let (red, green, blue) = view.order.offsets
        values.withUnsafeBufferPointer { source in
            for row in 0..<height {
                let target = view.bytes(row: row)
                for column in 0..<width {
                    let at = 3 * (row * width + column)
                    target[4 * column + red] = roundedLevel(source[at])
                    target[4 * column + green] = roundedLevel(source[at + 1])
                    target[4 * column + blue] = roundedLevel(source[at + 2])
                    target[4 * column + 3] = 255
                }
            }
        }
    }
}

/// A level 0...255; halves go to the even neighbour, NaN to 0.
private func roundedLevel(_ value: Float) -> UInt8 {
    UInt8(min(max(value.isNaN ? 0 : value, 0), 255).rounded(.toNearestOrEven))
}
