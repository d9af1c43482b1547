import Foundation
import RIDCore

/// The golden vectors of tests/golden, read where they lie; see the README there.
enum Golden {
    struct BudgetFile: Decodable {
        struct Case: Decodable {
            let name: String
            let levels: Int
            let strength: Double
            let image: [UInt8]
            let unit: [Double]
            let protected: [UInt8]
        }
        let apply_uint8: [Case]
    }

    struct TilingFile: Decodable {
        struct Size: Decodable {
            let height: Int
            let width: Int
            let short: Int
            let working: [Int]
        }
        struct Starts: Decodable {
            let length: Int
            let tile: Int
            let starts: [Int]
        }
        struct Weights: Decodable {
            let length: Int
            let tile: Int
            let weights: [[Double]]
        }
        let working_size: [Size]
        let starts: [Starts]
        let weights: [Weights]
    }

    struct ResampleFile: Decodable {
        struct TapCase: Decodable {
            let from: Int
            let to: Int
            let index: [[Int]]
            let weight: [[Double]]
        }
        struct Scaling: Decodable {
            let image: [[[Double]]]
            let size: [Int]
            let result: [[[Double]]]
        }
        struct Sharpening: Decodable {
            let unit: [[[Double]]]
            let result: [[[Double]]]
        }
        let taps: [TapCase]
        let resample: [Scaling]
        let sharpen: [Sharpening]
    }

    struct PhotoFile: Decodable {
        struct Case: Decodable {
            let tile: Int
            let levels: Int
            let strength: Double
            let image: [[[Double]]]
            let working_unit: [[[Double]]]
            let protected: [[[Double]]]
        }
        let protect: [Case]
    }

    struct ModelFile: Decodable {
        struct Picture: Decodable {
            let size: [Int]
            let rgb_sha256: String
        }
        let levels: Int
        let weights: String
        let image: Picture
        /// Base64: 64 x 64 x 3 little-endian float32, and as many bytes.
        let delta: String
        let protected: String
        /// By precision of the model, bounds by name.
        let tolerance: [String: [String: Double]]

        var deltaValues: [Float] {
            let raw = Data(base64Encoded: delta) ?? Data()
            return stride(from: 0, to: raw.count, by: 4).map { at in
                var bits: UInt32 = 0
                for byte in (0..<4).reversed() { bits = bits << 8 | UInt32(raw[at + byte]) }
                return Float(bitPattern: bits)
            }
        }

        var protectedLevels: [UInt8] { [UInt8](Data(base64Encoded: protected) ?? Data()) }

        /// Where the answers lie in an image `[row][column][channel]` of this size, in order.
        var positions: [Int] {
            (0..<64).flatMap { i in
                (0..<64).flatMap { j -> [Int] in
                    let row = 8 * i + 3 * i % 8
                    let column = 8 * j + (5 * j + i) % 8
                    let at = 3 * (row * image.size[1] + column)
                    return [at, at + 1, at + 2]
                }
            }
        }
    }

    static func budget() throws -> BudgetFile { try read("budget") }
    static func tiling() throws -> TilingFile { try read("tiling") }
    static func resample() throws -> ResampleFile { try read("resample") }
    static func photo() throws -> PhotoFile { try read("photo") }
    static func model() throws -> ModelFile { try read("model") }

    static var portrait: URL { folder.appendingPathComponent("portrait.png") }

    /// `$RID_GOLDEN`, or tests/golden of the checkout that this package lies in.
    private static var folder: URL {
        if let path = ProcessInfo.processInfo.environment["RID_GOLDEN"] {
            return URL(fileURLWithPath: path, isDirectory: true)
        }
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return package.deletingLastPathComponent().appendingPathComponent("tests/golden")
    }

    private struct Header: Decodable {
        let schema: Int
    }

    private static func read<File: Decodable>(_ name: String) throws -> File {
        let data = try Data(contentsOf: folder.appendingPathComponent("\(name).json"))
        let header = try JSONDecoder().decode(Header.self, from: data)
        precondition(header.schema == 1, "golden vectors of another schema")
        return try JSONDecoder().decode(File.self, from: data)
    }
}

extension FloatImage {
    /// From nested arrays `[row][column][channel]`: parsed as double, rounded to float.
    init(nested: [[[Double]]]) {
        let values = nested.flatMap { $0.flatMap { $0.map { Float($0) } } }
        self.init(height: nested.count, width: nested[0].count, values: values)
    }

    /// Largest absolute difference; infinite for pictures of different sizes.
    func distance(to other: FloatImage) -> Float {
        guard height == other.height, width == other.width else { return .infinity }
        return zip(values, other.values).map { abs($0 - $1) }.max() ?? 0
    }
}

extension Bitmap {
    /// Red, green, blue of all pixels, without alpha.
    var levels: [UInt8] {
        let (red, green, blue) = order.offsets
        var levels = [UInt8]()
        for pixel in stride(from: 0, to: bytes.count, by: 4) {
            levels += [bytes[pixel + red], bytes[pixel + green], bytes[pixel + blue]]
        }
        return levels
    }
}

/// A network that can be written down; see "photo.json" in tests/golden/README.md.
struct Formula: Defender {
    let side: Int
    let levels = 8
    let engine = "formula"

    func perturb(_ tile: FloatImage) async throws -> FloatImage {
        var unit = tile
        for row in 0..<tile.height {
            for column in 0..<tile.width {
                for channel in 0..<3 {
                    let at = 3 * (row * tile.width + column) + channel
                    let odd = (row + column + channel) % 2 == 1
                    unit.values[at] = min(max(4 * tile.values[at] - 2 + (odd ? 0.5 : -0.5), -1), 1)
                }
            }
        }
        return unit
    }
}
