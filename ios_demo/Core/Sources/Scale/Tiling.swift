/// Tiles that cover a picture, and how they are blended where they overlap.
///
/// Plain arithmetic on integers and floats, the same in every language of the project;
/// docs/large-photos.md has the formulae and the reasons.
public enum Tiling {
    /// A tile, and the share of its pixels in the blend.
    public struct Tile: Sendable {
        public let top: Int
        public let left: Int
        /// Weights of its rows, 0...1; a pixel weighs `rows[y] * columns[x]`.
        public let rows: [Float]
        /// Weights of its columns, 0...1.
        public let columns: [Float]
    }

    /// Size at which a photo is looked at: its short side becomes `short` pixels.
    public static func workingSize(
        height: Int, width: Int, short: Int = 512
    ) -> (height: Int, width: Int) {
        let side = min(height, width)
        func scaled(_ length: Int) -> Int { (2 * length * short + side) / (2 * side) }
        return (scaled(height), scaled(width))
    }

    /// First pixel of each tile along a side.
    ///
    /// The first tile touches one edge and the last the other; neighbours overlap by an eighth
    /// of a tile or more.
    ///
    /// - Parameter length: at least `tile` pixels.
    public static func starts(length: Int, tile: Int = 512) -> [Int] {
        precondition(length >= tile, "a side shorter than a tile")
        guard length > tile else { return [0] }
        let feather = tile / 8
        let step = tile - feather
        let count = (length - feather + step - 1) / step
        return (0..<count).map { $0 * (length - tile) / (count - 1) }
    }

    /// Weights along a side, `tile` values in 0...1 per tile; they add up to 1 at every pixel.
    ///
    /// Short ramps in the middle of each overlap: two tiles predict unrelated patterns, and where
    /// those are mixed half and half, half of their energy is gone.
    public static func weights(length: Int, tile: Int = 512) -> [[Float]] {
        let first = starts(length: length, tile: tile)
        let feather = tile / 8
        var result = [[Float]](repeating: [Float](repeating: 1, count: tile), count: first.count)
        for index in 0..<first.count - 1 {
            let ramp = (first[index] + tile + first[index + 1] - feather) / 2
            func rise(_ pixel: Int) -> Float {
                min(max((Float(pixel) - Float(ramp) + 0.5) / Float(feather), 0), 1)
            }
            for pixel in 0..<tile {
                result[index][pixel] *= 1 - rise(first[index] + pixel)
                result[index + 1][pixel] *= rise(first[index + 1] + pixel)
            }
        }
        return result
    }

    /// The tiles of a picture, row by row from the top left.
    public static func tiles(height: Int, width: Int, tile: Int = 512) -> [Tile] {
        let across = zip(starts(length: width, tile: tile), weights(length: width, tile: tile))
        let down = zip(starts(length: height, tile: tile), weights(length: height, tile: tile))
        return down.flatMap { top, rows in
            across.map { left, columns in
                Tile(top: top, left: left, rows: rows, columns: columns)
            }
        }
    }
}

extension FloatImage {
    /// Adds a tile's share of the blend.
    ///
    /// - Parameter unit: what was predicted for the tile, of its size.
    mutating func blend(_ unit: FloatImage, at tile: Tiling.Tile) {
        for row in 0..<unit.height {
            let start = 3 * ((tile.top + row) * width + tile.left)
            for column in 0..<unit.width {
                let weight = tile.rows[row] * tile.columns[column]
                for channel in 0..<3 {
                    values[start + 3 * column + channel] +=
                        weight * unit.values[3 * (row * unit.width + column) + channel]
                }
            }
        }
    }
}
